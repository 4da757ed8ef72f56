package shardwright.udfs

import java.lang.{Double => JDouble}

import org.apache.spark.sql.api.java.UDF1
import org.apache.spark.sql.catalyst.util.ArrayData

/** The Euclidean length of an embedding: 0 for an empty one, null for null elements and NaN. */
class L2Norm extends UDF1[Vectors.Boxed, JDouble] with Udf1[Vectors.Boxed, JDouble] {
  override protected def evaluate(a: Vectors.Boxed): JDouble = L2Norm.ofDoubles(Vectors.unboxed(a))
}

object L2Norm {

  def ofFloats(values: ArrayData): JDouble = {
    val a = Vectors.floats(values)
    if (a == null) null else Vectors.number(math.sqrt(Vectors.dot(a, a)))
  }

  def ofDoubles(values: ArrayData): JDouble = {
    val a = Vectors.doubles(values)
    if (a == null) null else Vectors.number(math.sqrt(Vectors.dot(a, a)))
  }
}
