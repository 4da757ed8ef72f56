package ai.rapids.cudf;

public interface BinaryOperable {
  default ColumnVector bitXor(BinaryOperable right) {
    throw new UnsupportedOperationException();
  }

  default ColumnVector div(BinaryOperable right, DType outType) {
    throw new UnsupportedOperationException();
  }

  default ColumnVector equalTo(BinaryOperable right) {
    throw new UnsupportedOperationException();
  }

  default ColumnVector mul(BinaryOperable right, DType outType) {
    throw new UnsupportedOperationException();
  }
}
