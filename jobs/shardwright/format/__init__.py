"""What a shard is: names, headers, samples, sidecars. Pure: no storage, no Spark."""
