package shardwright.udfs

import java.lang.{Integer => JInteger}

import org.apache.spark.sql.api.java.UDF1
import org.apache.spark.unsafe.types.UTF8String

/** How many runs of characters other than white space a caption has. */
class CaptionWordCount extends UDF1[String, JInteger] with Udf1[String, JInteger] {
  override protected def evaluate(text: String): JInteger = CaptionWordCount.of(text)
}

object CaptionWordCount {

  def of(text: UTF8String): JInteger = of(text.toString)

  private[udfs] def of(text: String): JInteger = {
    var count, i = 0
    var isInWord = false
    while (i < text.length) {
      val isSpace = Characters.isSpace(text.charAt(i))
      if (!isSpace && !isInWord) count += 1
      isInWord = !isSpace
      i += 1
    }
    count
  }
}
