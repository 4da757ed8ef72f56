"""What ``spark-submit`` points at: ``spark-submit jobs/submit.py export DATASET OUTPUT --where …``."""

from shardwright.cli import main

if __name__ == "__main__":
    main()
