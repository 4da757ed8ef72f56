package shardwright.udfs

import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.catalyst.FunctionIdentifier
import org.apache.spark.sql.catalyst.expressions.{BitwiseCount, BitwiseXor, Cast, Expression, ExpressionInfo}
import org.apache.spark.sql.types._

/** How the functions are computed: as expressions, or as UDFs with columnar twins. */
private[udfs] trait Calls {

  /** Call a function's class.
    *
    * @param function
    *   what SQL calls it
    * @param owner
    *   the class of the UDF, whose companion holds `method`
    */
  def apply(function: String, owner: Class[_], method: String, dataType: DataType, args: Seq[Expression]): Expression
}

/** The functions by their SQL names: how many arguments, of which types, computed by which class. */
private[udfs] object Functions {
  private type Builder = Seq[Expression] => Expression
  private type Description = (FunctionIdentifier, ExpressionInfo, Builder)

  private val Embedding = "array<float> or array<double>"
  private val Hash = "two bigints or two strings"
  private val Integers = Seq[DataType](ByteType, ShortType, IntegerType, LongType)

  def all(calls: Calls): Seq[Description] = Seq(
    describe("cosine_similarity", classOf[CosineSimilarity], 2, "a, b", "the cosine of the angle between embeddings") {
      vectors(calls, _, classOf[CosineSimilarity], _)
    },
    describe("dot_product", classOf[DotProduct], 2, "a, b", "the dot product of embeddings") {
      vectors(calls, _, classOf[DotProduct], _)
    },
    describe("l2_norm", classOf[L2Norm], 1, "a", "the Euclidean length of an embedding") {
      vectors(calls, _, classOf[L2Norm], _)
    },
    describe(
      "hamming_distance",
      classOf[HammingDistanceHex],
      2,
      "a, b",
      "in how many bits two perceptual hashes differ"
    ) {
      hashes(calls, _, _)
    },
    describe("caption_word_count", classOf[CaptionWordCount], 1, "text", "how many words a caption has") {
      text(calls, _, classOf[CaptionWordCount], IntegerType, _)
    },
    describe("caption_clean", classOf[CaptionClean], 1, "text", "a caption without entities and invisible characters") {
      text(calls, _, classOf[CaptionClean], StringType, _)
    }
  )

  private def describe(name: String, owner: Class[_], arity: Int, names: String, gives: String)(
      build: (String, Seq[Expression]) => Expression
  ): Description = {
    val usage = s"_FUNC_($names) - Returns $gives."
    val info = new ExpressionInfo(owner.getName, null, name, usage, "", "", "", "", "", "", "scala_udf")
    (
      new FunctionIdentifier(name),
      info,
      args => if (args.size == arity) build(name, args) else wrongCount(name, arity, args)
    )
  }

  private def vectors(calls: Calls, function: String, owner: Class[_], args: Seq[Expression]): Expression = {
    args.map(_.dataType).foreach {
      case ArrayType(_: NumericType | NullType, _) | NullType =>
      case other => wrongType(function, Embedding, other, args)
    }
    // Floats are read as they are: a cast would copy each array.
    if (args.forall(arg => isArrayOf(arg.dataType, FloatType))) {
      calls(function, owner, "ofFloats", DoubleType, args)
    } else {
      calls(
        function,
        owner,
        "ofDoubles",
        DoubleType,
        args.map(castUnless(isArrayOf(_, DoubleType), ArrayType(DoubleType)))
      )
    }
  }

  private def hashes(calls: Calls, function: String, args: Seq[Expression]): Expression = {
    val known = args.filterNot(_.dataType == NullType)
    val isText = known.nonEmpty && known.forall(_.dataType.isInstanceOf[StringType])
    if (isText) {
      val strings = args.map(castUnless(_.isInstanceOf[StringType], StringType))
      calls(function, classOf[HammingDistanceHex], "ofHex", IntegerType, strings)
    } else {
      known.map(_.dataType).find(!Integers.contains(_)).foreach(wrongType(function, Hash, _, args))
      val longs = args.map(castUnless(_ == LongType, LongType))
      // Spark's own are as fast, and RAPIDS has them.
      NamedCall(function, args, BitwiseCount(BitwiseXor(longs(0), longs(1))))
    }
  }

  private def text(
      calls: Calls,
      function: String,
      owner: Class[_],
      dataType: DataType,
      args: Seq[Expression]
  ): Expression = {
    args.map(_.dataType).foreach {
      case _: StringType | NullType =>
      case other => wrongType(function, "string", other, args)
    }
    calls(function, owner, "of", dataType, args.map(castUnless(_.isInstanceOf[StringType], StringType)))
  }

  private def isArrayOf(dataType: DataType, element: DataType): Boolean = dataType match {
    case ArrayType(found, _) => found == element
    case _ => false
  }

  private def castUnless(isFit: DataType => Boolean, wanted: DataType)(arg: Expression): Expression =
    if (isFit(arg.dataType)) arg else Cast(arg, wanted)

  private def wrongCount(function: String, arity: Int, args: Seq[Expression]): Nothing =
    throw new AnalysisException(
      "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
      Map(
        "functionName" -> s"`$function`",
        "expectedNum" -> arity.toString,
        "actualNum" -> args.size.toString,
        "docroot" -> "https://spark.apache.org/docs/latest"
      )
    )

  private def wrongType(function: String, wanted: String, found: DataType, args: Seq[Expression]): Nothing =
    throw new AnalysisException(
      "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
      Map(
        "sqlExpr" -> s""""$function(${args.map(_.sql).mkString(", ")})"""",
        "paramIndex" -> (if (args.indexWhere(_.dataType == found) == 0) "first" else "second"),
        "requiredType" -> wanted,
        "inputSql" -> s""""${args.find(_.dataType == found).fold("")(_.sql)}"""",
        "inputType" -> s""""${found.sql}""""
      )
    )
}
