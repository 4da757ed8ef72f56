package ai.rapids.cudf;

public enum NullPolicy {
  INCLUDE
}
