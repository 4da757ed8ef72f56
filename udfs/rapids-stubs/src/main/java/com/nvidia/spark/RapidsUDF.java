package com.nvidia.spark;

import ai.rapids.cudf.ColumnVector;

/** What the twins call of RAPIDS and cuDF, as the real classes declare it; none of it is packaged. */
public interface RapidsUDF {
  default ColumnVector evaluateColumnar(ColumnVector... args) {
    throw new UnsupportedOperationException();
  }

  default ColumnVector evaluateColumnar(int numRows, ColumnVector... args) {
    throw new UnsupportedOperationException();
  }
}
