package shardwright.udfs

import org.apache.spark.SparkEnv
import org.apache.spark.sql.SparkSessionExtensions

/** Puts the functions into every session: `spark.sql.extensions=shardwright.udfs.Extensions`. */
final class Extensions extends (SparkSessionExtensions => Unit) {

  override def apply(extensions: SparkSessionExtensions): Unit = {
    // RAPIDS runs UDF classes that bring a columnar version, and no expressions but Spark's own. The twins can't even
    // be loaded where RAPIDS is not.
    val calls = if (Extensions.isForRapids) RapidsCalls else ExpressionCalls
    Functions.all(calls).foreach(extensions.injectFunction)
  }
}

private object Extensions {

  /** With the plugin on; and where a plan is made for it without one, to ask RAPIDS what would run on a GPU. */
  def isForRapids: Boolean = Option(SparkEnv.get).map(_.conf).exists { conf =>
    conf.get("spark.plugins", "").contains("com.nvidia.spark.SQLPlugin") ||
    conf.get("spark.shardwright.rapids", "false").toBoolean
  }
}
