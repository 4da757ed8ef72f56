package shardwright.udfs

import org.apache.spark.sql.api.java.{UDF1, UDF2}

/** A UDF of one argument, for `registerJavaFunction` and, as a Scala function, for RAPIDS; null gives null. */
private[udfs] abstract class Udf1[A, R >: Null] extends UDF1[A, R] with (A => R) {
  protected def evaluate(a: A): R

  final override def call(a: A): R = apply(a)

  final override def apply(a: A): R = if (a == null) null else evaluate(a)
}

/** A UDF of two arguments, alike. */
private[udfs] abstract class Udf2[A, R >: Null] extends UDF2[A, A, R] with ((A, A) => R) {
  protected def evaluate(a: A, b: A): R

  final override def call(a: A, b: A): R = apply(a, b)

  final override def apply(a: A, b: A): R = if (a == null || b == null) null else evaluate(a, b)
}
