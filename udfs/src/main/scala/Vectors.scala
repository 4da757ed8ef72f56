package shardwright.udfs

import java.lang.{Double => JDouble}

import org.apache.spark.sql.catalyst.util.{ArrayData, GenericArrayData}

/** Sums over embeddings, in doubles whatever the elements are. */
private[udfs] object Vectors {

  /** What a UDF gets for an array. */
  type Boxed = scala.collection.Seq[Any]

  /** The elements as an array that Spark's expressions know. */
  def unboxed(values: Boxed): ArrayData = {
    val elements: Array[Any] = values.map {
      case number: Number => number.doubleValue
      case _ => null
    }.toArray
    new GenericArrayData(elements)
  }

  /** The floats; null where one of them is null. */
  def floats(values: ArrayData): Array[Float] = if (hasNull(values)) null else values.toFloatArray()

  /** The doubles; null where one of them is null. */
  def doubles(values: ArrayData): Array[Double] = if (hasNull(values)) null else values.toDoubleArray()

  private def hasNull(values: ArrayData): Boolean = {
    val count = values.numElements()
    var i = 0
    while (i < count && !values.isNullAt(i)) i += 1
    i < count
  }

  // Four sums at a time: one would wait for each addition before it starts the next.
  def dot(a: Array[Float], b: Array[Float]): Double = {
    var s0, s1, s2, s3 = 0.0
    var i = 0
    val fours = a.length & ~3
    while (i < fours) {
      s0 += a(i).toDouble * b(i)
      s1 += a(i + 1).toDouble * b(i + 1)
      s2 += a(i + 2).toDouble * b(i + 2)
      s3 += a(i + 3).toDouble * b(i + 3)
      i += 4
    }
    while (i < a.length) {
      s0 += a(i).toDouble * b(i)
      i += 1
    }
    (s0 + s1) + (s2 + s3)
  }

  def dot(a: Array[Double], b: Array[Double]): Double = {
    var s0, s1, s2, s3 = 0.0
    var i = 0
    val fours = a.length & ~3
    while (i < fours) {
      s0 += a(i) * b(i)
      s1 += a(i + 1) * b(i + 1)
      s2 += a(i + 2) * b(i + 2)
      s3 += a(i + 3) * b(i + 3)
      i += 4
    }
    while (i < a.length) {
      s0 += a(i) * b(i)
      i += 1
    }
    (s0 + s1) + (s2 + s3)
  }

  /** Give a number, and null for what is none: in a rule Spark would hold NaN to be larger than any threshold. */
  def number(value: Double): JDouble = if (value.isNaN) null else value
}
