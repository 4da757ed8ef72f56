package shardwright.udfs

import org.apache.spark.sql.types._
import org.apache.spark.sql.{Row, RowFactory}

/** The classes by themselves, as `registerJavaFunction` takes them and as RAPIDS falls back to them. */
class UdfClassesTest extends SparkFunSuite {

  test("the classes agree with the expressions") {
    spark.udf.register("class_cosine", new CosineSimilarity, DoubleType)
    spark.udf.register("class_dot", new DotProduct, DoubleType)
    spark.udf.register("class_norm", new L2Norm, DoubleType)
    spark.udf.register("class_distance_hex", new HammingDistanceHex, IntegerType)
    spark.udf.register("class_words", new CaptionWordCount, IntegerType)
    spark.udf.register("class_clean", new CaptionClean, StringType)
    spark.createDataFrame(rows, schema).createOrReplaceTempView("samples")
    val pairs = Seq(
      "class_cosine(a, b)" -> "cosine_similarity(a, b)",
      "class_dot(a, b)" -> "dot_product(a, b)",
      "class_norm(a)" -> "l2_norm(a)",
      "class_distance_hex(h, g)" -> "hamming_distance(h, g)",
      "class_words(t)" -> "caption_word_count(t)",
      "class_clean(t)" -> "caption_clean(t)"
    )
    for ((ofClass, ofExpression) <- pairs) {
      val found = spark.sql(s"SELECT $ofClass, $ofExpression FROM samples").collect()
      withClue(s"$ofClass: ")(found.foreach(row => assert(row.get(0) === row.get(1))))
    }
  }

  test("no class of RAPIDS is there, and none is asked for") {
    intercept[ClassNotFoundException](Class.forName("com.nvidia.spark.RapidsUDF"))
    intercept[ClassNotFoundException](Class.forName("ai.rapids.cudf.ColumnVector"))
    assert(spark.sql("SHOW FUNCTIONS LIKE 'caption_*'").count() === 2)
  }

  private lazy val schema = StructType.fromDDL(
    "a array<float>, b array<float>, h string, g string, t string"
  )

  private lazy val rows: java.util.List[Row] = java.util.Arrays.asList(
    RowFactory.create(Seq(1f, 2f), Seq(2f, 1f), "00ff", "0F0f", " a &lt; b "),
    RowFactory.create(Seq[Any](1f, null), Seq(2f, 1f), "0g", "00", ""),
    RowFactory.create(Seq.empty[Float], Seq.empty[Float], null, "00", null),
    RowFactory.create(null, Seq(1f), "", "", "\u200b")
  )
}
