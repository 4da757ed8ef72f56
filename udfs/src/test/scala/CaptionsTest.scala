package shardwright.udfs

import org.scalatest.funsuite.AnyFunSuite
import org.scalatest.prop.TableDrivenPropertyChecks

class CaptionsTest extends AnyFunSuite with TableDrivenPropertyChecks {

  test("words are what stands between white space") {
    val counts = Table(
      ("text", "count"),
      ("", 0),
      (" \t\r\n\u3000", 0),
      ("a", 1),
      (" a  b\u00a0c\u2028d\u0085e ", 5),
      ("rock-n-roll, don't", 2),
      ("a\u200bb", 1),
      ("\ud83d\ude00 \ud83d\ude00", 2)
    )
    forAll(counts)((text, count) => assert(CaptionWordCount.of(text) === count))
  }

  test("a cleaned caption has nothing that nobody sees") {
    val cleaned = Table(
      ("text", "clean"),
      ("", ""),
      (" \u200b ", ""),
      ("a\u0000b\u001f\u007f\u0080c", "abc"),
      ("a\tb\r\n\u000bc\u0085d", "a b c d"),
      ("\ufeffso\u00adft \u200d \u2060x", "soft x"),
      ("\u202eleft\u202c", "left"),
      ("\ud83d\ude00 e\u0301", "\ud83d\ude00 e\u0301")
    )
    forAll(cleaned)((text, clean) => assert(CaptionClean.of(text) === clean))
  }

  test("references are decoded once, and only with their semicolon") {
    val decoded = Table(
      ("text", "clean"),
      ("&lt;b&gt; &quot;&apos;&#39;", "<b> \"''"),
      ("&amp;lt;", "&lt;"),
      ("AT&T; R&B &copy 2020 &unknown; &;", "AT&T; R&B &copy 2020 &unknown; &;"),
      ("a&nbsp;b&#160;c&#xA0;d&#Xa0;e", "a b c d e"),
      ("&hellip;&NotEqualTilde;&Afr;", "\u2026\u2242\u0338\ud835\udd04"),
      ("&#128512;&#x1F600;", "\ud83d\ude00\ud83d\ude00"),
      ("&#0065;&#x000000041;", "AA"),
      ("&#150;&#x99;", "\u2013\u2122"),
      ("[&#0;&#xD800;&#x110000;&#99999999999;]", "[\ufffd\ufffd\ufffd\ufffd]"),
      ("&#8203;&ZeroWidthSpace;&#1;&#129;x", "x"),
      ("$1 \\ &amp;$1\\", "$1 \\ &$1\\")
    )
    forAll(decoded)((text, clean) => assert(CaptionClean.of(text) === clean))
  }

  test("cleaning twice is cleaning once, where nothing was escaped twice") {
    val random = new scala.util.Random(7)
    val alphabet = Characters.Spaces + Characters.Invisible + "ab&#;x1é"
    for (_ <- 1 to 2000) {
      val text = Seq.fill(random.nextInt(20))(alphabet(random.nextInt(alphabet.length))).mkString.replace("&", "")
      val once = CaptionClean.of(text)
      assert(CaptionClean.of(once) === once)
      assert(CaptionWordCount.of(once) === once.split(' ').count(_.nonEmpty))
    }
  }
}
