package shardwright.udfs

import org.apache.spark.sql.catalyst.expressions.{Expression, ScalaUDF}
import org.apache.spark.sql.types.DataType

/** UDFs that RAPIDS runs a column at a time, and Spark a row at a time where a plan leaves the GPU. */
private[udfs] object RapidsCalls extends Calls {

  private val twins: Map[Class[_], AnyRef] = Map(
    classOf[CosineSimilarity] -> new CosineSimilarityRapids,
    classOf[DotProduct] -> new DotProductRapids,
    classOf[L2Norm] -> new L2NormRapids,
    classOf[HammingDistanceHex] -> new HammingDistanceHexRapids,
    classOf[CaptionWordCount] -> new CaptionWordCountRapids,
    classOf[CaptionClean] -> new CaptionCleanRapids
  )

  override def apply(
      function: String,
      owner: Class[_],
      method: String,
      dataType: DataType,
      args: Seq[Expression]
  ): Expression = ScalaUDF(twins(owner), dataType, args, udfName = Some(function))
}
