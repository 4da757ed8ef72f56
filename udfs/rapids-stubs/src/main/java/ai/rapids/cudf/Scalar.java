package ai.rapids.cudf;

public final class Scalar implements AutoCloseable, BinaryOperable {
  private Scalar() {}

  public static Scalar fromDouble(double value) {
    throw new UnsupportedOperationException();
  }

  public static Scalar fromInt(int value) {
    throw new UnsupportedOperationException();
  }

  public static Scalar fromNull(DType type) {
    throw new UnsupportedOperationException();
  }

  public static Scalar fromString(String value) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }

  public boolean getBoolean() {
    throw new UnsupportedOperationException();
  }

  public boolean isValid() {
    throw new UnsupportedOperationException();
  }
}
