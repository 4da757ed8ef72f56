package shardwright.udfs

import org.apache.spark.sql.AnalysisException
import org.scalatest.prop.TableDrivenPropertyChecks

/** What SQL sees: each function's values, and its refusals. */
class FunctionsTest extends SparkFunSuite with TableDrivenPropertyChecks {

  private def floats(values: String) = s"CAST(IF(id < 1, array($values), null) AS array<float>)"
  private def doubles(values: String) = s"CAST(IF(id < 1, array($values), null) AS array<double>)"

  // Of arrays: (3, 4) and (4, 3), then what is undefined.
  private val vectors = Table[String, String, Any, Any](
    ("a", "b", "dot product", "cosine"),
    ("3, 4", "4, 3", 24.0, 0.96),
    ("1, 2, 3, 4, 5", "5, 4, 3, 2, 1", 35.0, 35.0 / 55),
    ("1, 0", "-2, 0", -2.0, -1.0),
    ("1, 1", "0, 0", 0.0, null),
    ("", "", 0.0, null),
    ("1, 2", "1", null, null),
    ("1, null", "1, 2", null, null),
    ("1, 2", "1, null", null, null),
    ("1, double('NaN')", "1, 2", null, null),
    ("double('Infinity'), 1", "1, 1", Double.PositiveInfinity, null),
    ("double('Infinity'), 1", "0, 1", null, null)
  )

  test("dot_product and cosine_similarity on floats, doubles and both") {
    forAll(vectors) { (a, b, dot, cosine) =>
      for ((left, right) <- Seq((floats(a), floats(b)), (doubles(a), doubles(b)), (floats(a), doubles(b)))) {
        assertGives(s"dot_product($left, $right)", dot)
        assertGives(s"round(cosine_similarity($left, $right), 12)", Option(cosine).map(rounded).orNull)
      }
    }
  }

  private def rounded(value: Any): Double =
    BigDecimal(value.asInstanceOf[Double]).setScale(12, BigDecimal.RoundingMode.HALF_UP).toDouble

  test("l2_norm") {
    forAll(
      Table[String, Any](
        ("a", "norm"),
        ("3, 4", 5.0),
        ("", 0.0),
        ("0, -0.0", 0.0),
        ("1, null", null),
        ("double('NaN')", null)
      )
    ) {
      (a, norm) =>
        assertGives(s"l2_norm(${floats(a)})", norm)
        assertGives(s"l2_norm(${doubles(a)})", norm)
    }
  }

  test("sums are in doubles: floats would lose the 1") {
    assertGives(s"dot_product(${floats("1e8, 1")}, ${floats("1e8, 1")})", 1e16 + 1)
    assertGives(s"dot_product(${floats("16777216, 1")}, ${floats("1, 1")})", 16777217.0)
  }

  test("a cosine never leaves -1 to 1") {
    for (scale <- Seq("0.1", "0.3", "0.7")) {
      val a = doubles(Seq.fill(3)(scale).mkString(", "))
      assert(valuesOf(s"cosine_similarity($a, $a)").forall(value => value.asInstanceOf[Double] <= 1))
    }
  }

  test("arrays of other numbers, and literals") {
    assertGives("dot_product(array(1, 2), array(id + 3, id + 4))", 11.0)
    assertGives("dot_product(array(0.5, 0.25), array(id + 2, id + 4))", 2.0)
    assertGives("dot_product(array(), array())", 0.0)
  }

  test("hamming_distance of bigints") {
    val distances = Table[String, String, Any](
      ("a", "b", "distance"),
      ("0", "0", 0),
      ("5", "2", 3),
      ("-1", "0", 64),
      ("9223372036854775807", "-9223372036854775808L", 64),
      ("1", "null", null),
      ("null", "null", null)
    )
    forAll(distances)((a, b, distance) => assertGives(s"hamming_distance(IF(id < 1, $a, null), $b)", distance))
    assertGives("hamming_distance(CAST(5 AS tinyint), CAST(2 AS int))", 3)
  }

  test("hamming_distance of hexadecimal strings") {
    val distances = Table[String, String, Any](
      ("a", "b", "distance"),
      ("00ff", "00FF", 0),
      ("0", "f", 4),
      ("abcdefABCDEF", "ABCDEFabcdef", 0),
      ("ffffffffffffffff", "0000000000000000", 64),
      ("f" * 64, "0" * 64, 256),
      ("123", "321", 2),
      ("", "", null),
      ("00", "000", null),
      ("0g", "00", null),
      ("00", "0x", null),
      (" 0", "00", null),
      ("0\\n", "00", null),
      ("é", "00", null),
      ("\\u0001", "0", null)
    )
    forAll(distances)((a, b, distance) =>
      assertGives(s"hamming_distance(concat('$a', repeat('', id)), '$b')", distance)
    )
    assertGives("hamming_distance('00', CAST(null AS string))", null)
  }

  test("null gives null") {
    for (function <- Seq("cosine_similarity", "dot_product", "hamming_distance"))
      assertGives(s"$function(null, null)", null)
    for (function <- Seq("l2_norm", "caption_word_count", "caption_clean")) assertGives(s"$function(null)", null)
    assertGives(s"dot_product(${floats("1")}, null)", null)
    assertGives("caption_clean(IF(id > 0, 'a', null))", null)
  }

  test("captions") {
    assertGives("caption_word_count(concat(' two\\u00a0words ', repeat('', id)))", 2)
    assertGives("caption_clean(concat(' a &amp;\\t b&#x200B; ', repeat('', id)))", "a & b")
  }

  test("a column has the name of its function") {
    assert(spark.range(1).selectExpr("hamming_distance(id, 1)").columns === Array("hamming_distance(id, 1)"))
  }

  test("wrong arguments are refused before anything runs") {
    val refused = Table(
      ("expression", "reason"),
      ("dot_product(array(1))", "2"),
      ("l2_norm('a')", "array<float>"),
      ("dot_product(array('a'), array(1))", "array<float>"),
      ("hamming_distance(1, 'ff')", "two bigints"),
      ("hamming_distance(1.5, 2)", "two bigints"),
      ("caption_clean(id)", "string")
    )
    forAll(refused) { (expression, reason) =>
      assert(intercept[AnalysisException](spark.range(1).selectExpr(expression)).getMessage.contains(reason))
    }
  }

  test("DESCRIBE FUNCTION says what a function gives") {
    val text = spark.sql("DESCRIBE FUNCTION l2_norm").collect().map(_.getString(0)).mkString("\n")
    assert(text.contains("l2_norm(a) - Returns"))
  }
}
