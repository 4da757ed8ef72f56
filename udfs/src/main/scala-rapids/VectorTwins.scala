package shardwright.udfs

import ai.rapids.cudf.{ColumnVector, ColumnView, DType, Scalar}
import com.nvidia.spark.RapidsUDF
import shardwright.udfs.Columns._

/** [[DotProduct]] on a GPU. */
final class DotProductRapids extends DotProduct with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector =
    aligned(args(0), args(1)) { (a, b) =>
      using(dots(a, b))(sums => using(zeroWhereEmpty(sums, a))(_.nansToNulls()))
    }
}

/** [[L2Norm]] on a GPU. */
final class L2NormRapids extends L2Norm with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector =
    using(onlyUsable(args(0), args(0))) { a =>
      using(norms(a))(lengths => using(zeroWhereEmpty(lengths, a))(_.nansToNulls()))
    }

  private def norms(lists: ColumnView): ColumnVector = using(dots(lists, lists))(_.sqrt())
}

/** [[CosineSimilarity]] on a GPU. */
final class CosineSimilarityRapids extends CosineSimilarity with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector =
    aligned(args(0), args(1)) { (a, b) =>
      using(dots(a, b)) { sums =>
        using(lengths(a, b))(both =>
          using(sums.div(both, DType.FLOAT64))(cosines => using(cosines.nansToNulls())(clamped))
        )
      }
    }

  private def lengths(a: ColumnView, b: ColumnView): ColumnVector =
    using(norms(a))(left => using(norms(b))(right => left.mul(right, DType.FLOAT64)))

  private def norms(lists: ColumnView): ColumnVector = using(dots(lists, lists))(_.sqrt())

  private def clamped(cosines: ColumnVector): ColumnVector =
    using(Scalar.fromDouble(-1))(low => using(Scalar.fromDouble(1))(cosines.clamp(low, _)))
}
