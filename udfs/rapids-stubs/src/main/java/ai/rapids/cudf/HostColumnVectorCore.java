package ai.rapids.cudf;

public class HostColumnVectorCore implements AutoCloseable {
  HostColumnVectorCore() {}

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }

  public String getJavaString(long row) {
    throw new UnsupportedOperationException();
  }

  public long getRowCount() {
    throw new UnsupportedOperationException();
  }

  public boolean isNull(long row) {
    throw new UnsupportedOperationException();
  }
}
