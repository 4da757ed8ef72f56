package shardwright.udfs

import java.lang.{Integer => JInteger}

import org.apache.spark.sql.api.java.UDF2
import org.apache.spark.unsafe.types.UTF8String

/** In how many bits two perceptual hashes in hexadecimal digits differ, in any case and of any one length: null for
  * unequal lengths, for empty strings, which are no hashes, and for anything but digits.
  */
class HammingDistanceHex extends UDF2[String, String, JInteger] with Udf2[String, JInteger] {
  override protected def evaluate(a: String, b: String): JInteger =
    HammingDistanceHex.ofHex(UTF8String.fromString(a), UTF8String.fromString(b))
}

object HammingDistanceHex {

  def ofHex(left: UTF8String, right: UTF8String): JInteger = {
    val count = left.numBytes()
    if (count == 0 || count != right.numBytes()) null
    else {
      val (a, b) = (left.getBytes, right.getBytes)
      var i, bits, seen = 0
      while (i < count) {
        val x = digit(a(i))
        val y = digit(b(i))
        // Negative as soon as one is no digit.
        seen |= x | y
        bits += Integer.bitCount(x ^ y)
        i += 1
      }
      if (seen < 0) null else bits
    }
  }

  private def digit(char: Byte): Int =
    if (char >= '0' && char <= '9') char - '0'
    else {
      val lower = char | 0x20
      if (lower >= 'a' && lower <= 'f') lower - 'a' + 10 else -1
    }
}
