package ai.rapids.cudf;

public class RegexProgram {
  public RegexProgram(String pattern) {}
}
