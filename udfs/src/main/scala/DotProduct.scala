package shardwright.udfs

import java.lang.{Double => JDouble}

import org.apache.spark.sql.api.java.UDF2
import org.apache.spark.sql.catalyst.util.ArrayData

/** The sum of the products of two embeddings' elements: 0 for empty ones, null for unequal lengths, null elements, NaN.
  */
class DotProduct extends UDF2[Vectors.Boxed, Vectors.Boxed, JDouble] with Udf2[Vectors.Boxed, JDouble] {
  override protected def evaluate(a: Vectors.Boxed, b: Vectors.Boxed): JDouble =
    DotProduct.ofDoubles(Vectors.unboxed(a), Vectors.unboxed(b))
}

object DotProduct {

  def ofFloats(left: ArrayData, right: ArrayData): JDouble =
    if (left.numElements() != right.numElements()) null
    else {
      val (a, b) = (Vectors.floats(left), Vectors.floats(right))
      if (a == null || b == null) null else Vectors.number(Vectors.dot(a, b))
    }

  def ofDoubles(left: ArrayData, right: ArrayData): JDouble =
    if (left.numElements() != right.numElements()) null
    else {
      val (a, b) = (Vectors.doubles(left), Vectors.doubles(right))
      if (a == null || b == null) null else Vectors.number(Vectors.dot(a, b))
    }
}
