package shardwright.udfs

import java.lang.{Double => JDouble}

import org.apache.spark.sql.api.java.UDF2
import org.apache.spark.sql.catalyst.util.ArrayData

/** The cosine of the angle between two embeddings, -1 to 1: null for zero vectors and empty ones, which have no angle,
  * and for unequal lengths, null elements, NaN.
  */
class CosineSimilarity extends UDF2[Vectors.Boxed, Vectors.Boxed, JDouble] with Udf2[Vectors.Boxed, JDouble] {
  override protected def evaluate(a: Vectors.Boxed, b: Vectors.Boxed): JDouble =
    CosineSimilarity.ofDoubles(Vectors.unboxed(a), Vectors.unboxed(b))
}

object CosineSimilarity {

  def ofFloats(left: ArrayData, right: ArrayData): JDouble =
    if (left.numElements() != right.numElements()) null
    else {
      val (a, b) = (Vectors.floats(left), Vectors.floats(right))
      if (a == null || b == null) null else cosine(Vectors.dot(a, b), Vectors.dot(a, a), Vectors.dot(b, b))
    }

  def ofDoubles(left: ArrayData, right: ArrayData): JDouble =
    if (left.numElements() != right.numElements()) null
    else {
      val (a, b) = (Vectors.doubles(left), Vectors.doubles(right))
      if (a == null || b == null) null else cosine(Vectors.dot(a, b), Vectors.dot(a, a), Vectors.dot(b, b))
    }

  private def cosine(dot: Double, squaresOfA: Double, squaresOfB: Double): JDouble = {
    // Zero divided by zero is NaN, and null then. Rounding may give a last bit more than 1.
    val value = dot / (math.sqrt(squaresOfA) * math.sqrt(squaresOfB))
    Vectors.number(math.max(-1.0, math.min(1.0, value)))
  }
}
