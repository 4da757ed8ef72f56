package shardwright.udfs

import org.apache.spark.sql.catalyst.expressions.objects.StaticInvoke
import org.apache.spark.sql.catalyst.expressions.{Expression, InheritAnalysisRules, RuntimeReplaceable}
import org.apache.spark.sql.types.DataType

/** Expressions: the generated code of a plan calls the function on Spark's own values, with nothing converted or boxed.
  */
private[udfs] object ExpressionCalls extends Calls {

  override def apply(
      function: String,
      owner: Class[_],
      method: String,
      dataType: DataType,
      args: Seq[Expression]
  ): Expression = NamedCall(function, args, StaticInvoke(owner, dataType, method, args))
}

/** A call under its SQL name, in plans, errors and names of columns. */
private[udfs] final case class NamedCall(function: String, parameters: Seq[Expression], replacement: Expression)
    extends RuntimeReplaceable
    with InheritAnalysisRules {

  override def prettyName: String = function

  override protected def withNewChildInternal(newChild: Expression): NamedCall = copy(replacement = newChild)
}
