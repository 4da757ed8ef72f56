package shardwright.udfs

import org.apache.spark.sql.api.java.{UDF1, UDF2}

// Each class names Spark's interface itself: registerJavaFunction looks no further.

/** A UDF of one argument that RAPIDS takes as a Scala function; null gives null. */
private[udfs] trait Udf1[A, R >: Null] extends (A => R) { self: UDF1[A, R] =>
  protected def evaluate(a: A): R

  final def call(a: A): R = apply(a)

  final override def apply(a: A): R = if (a == null) null else evaluate(a)
}

/** A UDF of two arguments, alike. */
private[udfs] trait Udf2[A, R >: Null] extends ((A, A) => R) { self: UDF2[A, A, R] =>
  protected def evaluate(a: A, b: A): R

  final def call(a: A, b: A): R = apply(a, b)

  final override def apply(a: A, b: A): R = if (a == null || b == null) null else evaluate(a, b)
}
