package shardwright.udfs

import ai.rapids.cudf._

/** Steps that the twins share. A column on the GPU lives until it is closed: each is, by the step that made it. */
private[udfs] object Columns {

  def using[A <: AutoCloseable, B](resource: A)(use: A => B): B =
    try use(resource)
    finally resource.close()

  /** Keep a list column's rows where `usable` is not null; the others become null and hold no elements.
    *
    * What comes back starts at its first element, also when `lists` was a slice.
    */
  def onlyUsable(lists: ColumnView, usable: ColumnView): ColumnVector = {
    val masked = lists.mergeAndSetValidity(BinaryOp.BITWISE_AND, usable)
    if (masked.hasNonEmptyNulls) using(masked)(_.purgeNonEmptyNulls()) else masked
  }

  /** Make the elements of two list columns stand side by side.
    *
    * @param use
    *   gets both with null rows where either is null or their lengths differ
    */
  def aligned[B](a: ColumnView, b: ColumnView)(use: (ColumnVector, ColumnVector) => B): B =
    using(sameLength(a, b)) { usable =>
      using(onlyUsable(a, usable))(left => using(onlyUsable(b, usable))(right => use(left, right)))
    }

  /** True where the lengths are equal, else null. */
  private def sameLength(a: ColumnView, b: ColumnView): ColumnVector =
    using(isSameLength(a, b))(isSame => using(Scalar.fromNull(DType.BOOL8))(isSame.ifElse(isSame, _)))

  private def isSameLength(a: ColumnView, b: ColumnView): ColumnVector =
    using(a.countElements())(left => using(b.countElements())(left.equalTo(_)))

  /** Sum `elements`, shared out to rows as those of `lists` are; null for null rows, empty ones and null elements. */
  def sums(lists: ColumnView, elements: ColumnView, dataType: DType): ColumnVector =
    using(lists.replaceListChild(elements)) {
      _.listReduce(SegmentedReductionAggregation.sum(), NullPolicy.INCLUDE, dataType)
    }

  /** The sums of products of aligned columns; null for null rows, empty ones and null elements. */
  def dots(a: ColumnView, b: ColumnView): ColumnVector =
    using(products(a, b))(sums(a, _, DType.FLOAT64))

  // Cast first: a product of floats would be rounded to a float.
  private def products(a: ColumnView, b: ColumnView): ColumnVector =
    using(elements(a))(left => using(elements(b))(right => left.mul(right, DType.FLOAT64)))

  private def elements(lists: ColumnView): ColumnVector =
    using(lists.getChildColumnView(0))(_.castTo(DType.FLOAT64))

  /** Replace null by 0 where a row's list is empty. */
  def zeroWhereEmpty(sums: ColumnVector, lists: ColumnView): ColumnVector =
    using(isEmpty(lists))(empty => using(Scalar.fromDouble(0))(empty.ifElse(_, sums)))

  private def isEmpty(lists: ColumnView): ColumnVector =
    using(lists.countElements())(counts => using(Scalar.fromInt(0))(counts.equalTo(_)))

  /** Replace each of the characters, which stand for themselves. */
  def replaceEach(text: ColumnView, characters: String, by: Char => String): ColumnVector =
    using(ColumnVector.fromStrings(characters.map(_.toString): _*)) { found =>
      using(ColumnVector.fromStrings(characters.map(by): _*))(text.stringReplace(found, _))
    }
}
