package shardwright.udfs

import org.apache.spark.sql.SparkSession
import org.scalatest.BeforeAndAfterAll
import org.scalatest.funsuite.AnyFunSuite

/** A session with the extension, and one row of SQL at a time. */
abstract class SparkFunSuite extends AnyFunSuite with BeforeAndAfterAll {
  protected lazy val spark: SparkSession = SparkSession
    .builder()
    .master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.sql.extensions", classOf[Extensions].getName)
    .config("spark.sql.warehouse.dir", System.getProperty("java.io.tmpdir"))
    .getOrCreate()

  override protected def afterAll(): Unit = spark.stop()

  /** Both ways in which Spark computes: compiled, and interpreted. Rows from a range keep the optimizer from computing.
    */
  protected def valuesOf(expression: String): Seq[Any] =
    Seq("CODEGEN_ONLY" -> "true", "NO_CODEGEN" -> "false").map { case (mode, whole) =>
      spark.conf.set("spark.sql.codegen.factoryMode", mode)
      spark.conf.set("spark.sql.codegen.wholeStage", whole)
      spark.range(1).selectExpr(s"$expression AS value").head().get(0)
    }

  protected def assertGives(expression: String, expected: Any): Unit =
    withClue(s"$expression: ")(assert(valuesOf(expression) === Seq(expected, expected)))
}
