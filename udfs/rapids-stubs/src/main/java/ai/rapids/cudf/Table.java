package ai.rapids.cudf;

public final class Table implements AutoCloseable {
  public Table(ColumnVector... columns) {}

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }

  public Table gather(ColumnView gatherMap) {
    throw new UnsupportedOperationException();
  }

  public ColumnVector getColumn(int index) {
    throw new UnsupportedOperationException();
  }
}
