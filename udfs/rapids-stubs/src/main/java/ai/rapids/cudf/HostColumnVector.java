package ai.rapids.cudf;

public final class HostColumnVector extends HostColumnVectorCore {
  private HostColumnVector() {}
}
