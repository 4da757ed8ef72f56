package shardwright.udfs

import ai.rapids.cudf._
import com.nvidia.spark.RapidsUDF
import shardwright.udfs.Columns._

/** [[CaptionWordCount]] on a GPU. */
final class CaptionWordCountRapids extends CaptionWordCount with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector = {
    val text = args(0)
    using(counts(text)) { found =>
      // A caption without words may have no list of words.
      using(Scalar.fromInt(0))(zero =>
        using(found.replaceNulls(zero))(_.mergeAndSetValidity(BinaryOp.BITWISE_AND, text))
      )
    }
  }

  private def counts(text: ColumnView): ColumnVector =
    using(replaceEach(text, Characters.Spaces, _ => " ")) { spaced =>
      using(spaced.extractAllRecord(new RegexProgram("[^ ]+"), 0))(_.countElements())
    }
}

/** [[CaptionClean]] on a GPU, but for captions with an ampersand, whose entities the CPU decodes. */
final class CaptionCleanRapids extends CaptionClean with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector =
    using(decoded(args(0))) { text =>
      using(visible(text)) { seen =>
        using(Scalar.fromString(" ")) { space =>
          using(seen.replaceRegex(new RegexProgram(" +"), space))(_.strip(space))
        }
      }
    }

  private def visible(text: ColumnView): ColumnVector =
    replaceEach(text, Characters.Spaces + Characters.Invisible, char => if (Characters.isSpace(char)) " " else "")

  private def decoded(text: ColumnVector): ColumnVector =
    using(hasAmpersand(text))(has => if (isAny(has)) decodedWhere(has, text) else text.incRefCount())

  private def hasAmpersand(text: ColumnView): ColumnVector =
    using(Scalar.fromString("&"))(ampersand => text.stringContains(ampersand))

  private def isAny(flags: ColumnView): Boolean = using(flags.any())(any => any.isValid && any.getBoolean)

  private def decodedWhere(has: ColumnView, text: ColumnView): ColumnVector =
    using(only(has, text))(chosen => using(ColumnVector.fromStrings(onHost(chosen): _*))(has.ifElse(_, text)))

  private def only(has: ColumnView, text: ColumnView): ColumnVector =
    using(Scalar.fromNull(DType.STRING))(has.ifElse(text, _))

  private def onHost(chosen: ColumnView): Seq[String] = using(chosen.copyToHost()) { rows =>
    (0L until rows.getRowCount).map(row => if (rows.isNull(row)) null else Entities.decode(rows.getJavaString(row)))
  }
}
