package shardwright.udfs

import java.lang.{Integer => JInteger, Long => JLong}

import org.apache.spark.sql.api.java.UDF2

/** In how many bits two 64-bit perceptual hashes differ, 0 to 64. */
class HammingDistance extends UDF2[JLong, JLong, JInteger] with Udf2[JLong, JInteger] {
  override protected def evaluate(a: JLong, b: JLong): JInteger = HammingDistance.ofLongs(a, b)
}

object HammingDistance {
  def ofLongs(a: Long, b: Long): JInteger = JLong.bitCount(a ^ b)
}
