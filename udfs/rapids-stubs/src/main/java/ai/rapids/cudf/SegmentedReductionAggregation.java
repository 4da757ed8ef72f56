package ai.rapids.cudf;

public final class SegmentedReductionAggregation {
  private SegmentedReductionAggregation() {}

  public static SegmentedReductionAggregation sum() {
    throw new UnsupportedOperationException();
  }
}
