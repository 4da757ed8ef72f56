package shardwright.udfs

import java.nio.charset.Charset
import java.util.regex.{Matcher, Pattern}

import scala.io.{Codec, Source}

/** HTML's character references, as the HTML standard decodes them, but only with their semicolon: "AT&T" and
  * "?a=1&copy=2" stay what they are.
  */
private[udfs] object Entities {
  private val Reference = Pattern.compile("&(?:#([0-9]+)|#[xX]([0-9a-fA-F]+)|([a-zA-Z][a-zA-Z0-9]*));")
  private val Replacement = "\ufffd"

  // All of the standard's names: a line has a name and its code points.
  private lazy val named: Map[String, String] = {
    val source = Source.fromInputStream(getClass.getResourceAsStream("/shardwright/udfs/entities.txt"))(Codec.UTF8)
    try source.getLines().map(_.split(' ')).map(words => words.head -> words.tail.map(fromHex).mkString).toMap
    finally source.close()
  }

  def decode(text: String): String = if (text.indexOf('&') < 0) text else decodeReferences(text)

  private def decodeReferences(text: String): String = {
    val matcher = Reference.matcher(text)
    val decoded = new StringBuffer(text.length)
    while (matcher.find()) {
      val value =
        if (matcher.group(1) != null) fromNumber(matcher.group(1), 10)
        else if (matcher.group(2) != null) fromNumber(matcher.group(2), 16)
        else named.getOrElse(matcher.group(3), matcher.group())
      matcher.appendReplacement(decoded, Matcher.quoteReplacement(value))
    }
    matcher.appendTail(decoded).toString
  }

  private def fromHex(code: String): String = new String(Character.toChars(Integer.parseInt(code, 16)))

  private def fromNumber(digits: String, radix: Int): String = {
    val significant = digits.dropWhile(_ == '0')
    val code = if (significant.length > 7) Int.MaxValue else Integer.parseInt("0" + significant, radix)
    if (code >= 0x80 && code <= 0x9f) fromWindows(code)
    else if (code == 0 || code > Character.MAX_CODE_POINT || (code >= 0xd800 && code <= 0xdfff)) Replacement
    else new String(Character.toChars(code))
  }

  /** Decode what pages call by its place in Windows' code page; the five places that it leaves empty stay controls. */
  private def fromWindows(code: Int): String = {
    val char = new String(Array(code.toByte), Charset.forName("windows-1252"))
    if (char == Replacement) code.toChar.toString else char
  }
}
