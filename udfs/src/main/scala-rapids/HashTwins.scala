package shardwright.udfs

import java.lang.{Integer => JInteger}

import ai.rapids.cudf.{ColumnVector, ColumnView, DType, Table}
import com.nvidia.spark.RapidsUDF
import shardwright.udfs.Columns._

/** [[HammingDistanceHex]] on a GPU. */
final class HammingDistanceHexRapids extends HammingDistanceHex with RapidsUDF {
  override def evaluateColumnar(rowCount: Int, args: ColumnVector*): ColumnVector =
    using(args(0).asByteList(true)) { left =>
      using(args(1).asByteList(true)) { right =>
        aligned(left, right)((a, b) => using(differences(a, b))(sums(a, _, DType.INT32)))
      }
    }

  /** In how many bits two digits differ; null where one is none. */
  private def differences(a: ColumnView, b: ColumnView): ColumnVector =
    using(digits(a))(left => using(digits(b))(right => using(left.bitXor(right))(_.bitCount())))

  private def digits(bytes: ColumnView): ColumnVector =
    using(ColumnVector.fromBoxedInts(HammingDistanceHexRapids.Values: _*)) { values =>
      using(new Table(values)) { table =>
        using(bytes.getChildColumnView(0)) { child =>
          using(child.castTo(DType.INT32))(places => using(table.gather(places))(_.getColumn(0).incRefCount()))
        }
      }
    }
}

private object HammingDistanceHexRapids {

  /** The value of each byte as a digit; null for most. */
  val Values: Seq[JInteger] = (0 to 255).map { byte =>
    val digit = if (byte < 128) Character.digit(byte.toChar, 16) else -1
    if (digit < 0) null else JInteger.valueOf(digit)
  }
}
