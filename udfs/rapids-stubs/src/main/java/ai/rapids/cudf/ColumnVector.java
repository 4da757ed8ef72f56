package ai.rapids.cudf;

public final class ColumnVector extends ColumnView {
  private ColumnVector() {}

  public static ColumnVector fromBoxedInts(Integer... values) {
    throw new UnsupportedOperationException();
  }

  public static ColumnVector fromStrings(String... values) {
    throw new UnsupportedOperationException();
  }

  public ColumnVector incRefCount() {
    throw new UnsupportedOperationException();
  }
}
