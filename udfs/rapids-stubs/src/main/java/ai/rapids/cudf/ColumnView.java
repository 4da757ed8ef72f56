package ai.rapids.cudf;

public class ColumnView implements AutoCloseable, BinaryOperable {
  ColumnView() {}

  public Scalar any() {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector asByteList(boolean bigEndian) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector bitCount() {
    throw new UnsupportedOperationException();
  }

  public ColumnVector castTo(DType type) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector clamp(Scalar low, Scalar high) {
    throw new UnsupportedOperationException();
  }

  @Override
  public void close() {
    throw new UnsupportedOperationException();
  }

  public HostColumnVector copyToHost() {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector countElements() {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector extractAllRecord(RegexProgram program, int group) {
    throw new UnsupportedOperationException();
  }

  public final ColumnView getChildColumnView(int child) {
    throw new UnsupportedOperationException();
  }

  public boolean hasNonEmptyNulls() {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector ifElse(ColumnView trueValues, ColumnView falseValues) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector ifElse(ColumnView trueValues, Scalar falseValue) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector ifElse(Scalar trueValue, ColumnView falseValues) {
    throw new UnsupportedOperationException();
  }

  public ColumnVector listReduce(SegmentedReductionAggregation aggregation, NullPolicy nulls, DType outType) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector mergeAndSetValidity(BinaryOp mergeOp, ColumnView... columns) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector nansToNulls() {
    throw new UnsupportedOperationException();
  }

  public ColumnVector purgeNonEmptyNulls() {
    throw new UnsupportedOperationException();
  }

  public ColumnView replaceListChild(ColumnView child) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector replaceNulls(Scalar value) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector replaceRegex(RegexProgram program, Scalar replacement) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector sqrt() {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector stringContains(Scalar text) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector stringReplace(ColumnView targets, ColumnView replacements) {
    throw new UnsupportedOperationException();
  }

  public final ColumnVector strip(Scalar characters) {
    throw new UnsupportedOperationException();
  }
}
