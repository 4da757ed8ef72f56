package ai.rapids.cudf;

public final class DType {
  public static final DType BOOL8 = new DType();
  public static final DType FLOAT64 = new DType();
  public static final DType INT32 = new DType();
  public static final DType STRING = new DType();

  private DType() {}
}
