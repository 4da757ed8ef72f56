// The functions for curation rules: `sbt +test +package`, or `make udfs`, which also puts the jars where shardwright looks.

// Spark 4.0 and Spark 3.5.
val scala213 = "2.13.16"
val scala212 = "2.12.18"
val forScala213 = Def.setting(scalaBinaryVersion.value == "2.13")

ThisBuild / organization := "io.github.shardwright"
ThisBuild / version := "0.1.0"
ThisBuild / scalaVersion := scala213

// The real RAPIDS jar instead of the stubs: sbt -Drapids.jar=PATH.
val rapidsJar = sys.props.get("rapids.jar").map(file)

// Only what a checked-out tree must not hold: the 1.0 GB jar's signatures that the GPU twins call.
lazy val rapidsStubs = project
  .in(file("udfs/rapids-stubs"))
  .settings(
    crossScalaVersions := Seq(scala213, scala212),
    autoScalaLibrary := false,
    Compile / compile / javacOptions ++= Seq("--release", "8", "-Xlint:all,-options", "-Werror"),
    Compile / doc / sources := Nil,
    publish / skip := true
  )

lazy val udfs = project
  .in(file("udfs"))
  .dependsOn(rapidsStubs % Provided)
  .settings(
    name := "shardwright-udfs",
    crossScalaVersions := Seq(scala213, scala212),
    scalacOptions ++= Seq("-deprecation", "-feature", "-unchecked", "-Xlint", "-release", "8"),
    scalacOptions += (if (forScala213.value) "-Werror" else "-Xfatal-warnings"),
    libraryDependencies ++= Seq(
      "org.apache.spark" %% "spark-sql" % (if (forScala213.value) "4.0.4" else "3.5.8") % Provided,
      "org.scalatest" %% "scalatest" % "3.2.19" % Test
    ),
    Compile / unmanagedSourceDirectories += baseDirectory.value / "src/main/scala-rapids",
    Compile / dependencyClasspath := {
      val stubs = (rapidsStubs / Compile / classDirectory).value
      val others = (Compile / dependencyClasspath).value
      rapidsJar.fold(others)(jar => others.filterNot(_.data == stubs) :+ Attributed.blank(jar))
    },
    // Tests run as a cluster without RAPIDS does: a twin that is loaded there fails them.
    Test / dependencyClasspath := {
      val stubs = (rapidsStubs / Compile / classDirectory).value
      (Test / dependencyClasspath).value.filterNot(_.data == stubs)
    },
    Test / fork := true,
    Test / javaOptions ++= Seq("-Xmx1g", "-Dspark.ui.enabled=false", "-XX:+IgnoreUnrecognizedVMOptions") ++
      Seq(
        "java.lang",
        "java.lang.invoke",
        "java.lang.reflect",
        "java.io",
        "java.net",
        "java.nio",
        "java.util",
        "java.util.concurrent",
        "java.util.concurrent.atomic",
        "sun.nio.ch",
        "sun.nio.cs",
        "sun.security.action",
        "sun.util.calendar"
      ).flatMap(name => Seq("--add-opens", s"java.base/$name=ALL-UNNAMED"))
  )

lazy val root = project.in(file(".")).aggregate(udfs).settings(crossScalaVersions := Nil, publish / skip := true)
