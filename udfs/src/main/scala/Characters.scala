package shardwright.udfs

/** What separates words, and what nobody sees. */
private[udfs] object Characters {

  /** Unicode's White_Space. */
  val Spaces: String =
    "\t\n\u000b\f\r \u0085\u00a0\u1680" + ('\u2000' to '\u200a').mkString + "\u2028\u2029\u202f\u205f\u3000"

  /** Control characters that are no white space, the soft hyphen, and what has no width: joiners, marks of direction,
    * the byte order mark.
    */
  val Invisible: String = (
    ('\u0000' to '\u0008') ++ ('\u000e' to '\u001f') ++ ('\u007f' to '\u0084') ++ ('\u0086' to '\u009f') ++
      Seq('\u00ad', '\u061c', '\u180e') ++ ('\u200b' to '\u200f') ++ ('\u202a' to '\u202e') ++
      ('\u2060' to '\u206f') :+ '\ufeff'
  ).mkString

  private val Kinds: Array[Byte] = {
    val kinds = new Array[Byte](1 << 16)
    Spaces.foreach(kinds(_) = 1)
    Invisible.foreach(kinds(_) = 2)
    kinds
  }

  def isSpace(char: Char): Boolean = Kinds(char) == 1

  def isInvisible(char: Char): Boolean = Kinds(char) == 2
}
