package ai.rapids.cudf;

public enum BinaryOp {
  BITWISE_AND
}
