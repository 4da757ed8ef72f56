package shardwright.udfs

import org.apache.spark.sql.api.java.UDF1
import org.apache.spark.unsafe.types.UTF8String

/** A caption as people read it: entities decoded once, then invisible characters removed, then each run of white space
  * one space, and none at the ends.
  */
class CaptionClean extends UDF1[String, String] with Udf1[String, String] {
  override protected def evaluate(text: String): String = CaptionClean.of(text)
}

object CaptionClean {

  def of(text: UTF8String): UTF8String = UTF8String.fromString(of(text.toString))

  private[udfs] def of(text: String): String = {
    val decoded = Entities.decode(text)
    val cleaned = new StringBuilder(decoded.length)
    var i = 0
    var isAfterSpace = false
    while (i < decoded.length) {
      val char = decoded.charAt(i)
      if (Characters.isSpace(char)) isAfterSpace = cleaned.nonEmpty
      else if (!Characters.isInvisible(char)) {
        if (isAfterSpace) cleaned.append(' ')
        isAfterSpace = false
        cleaned.append(char)
      }
      i += 1
    }
    cleaned.toString
  }
}
