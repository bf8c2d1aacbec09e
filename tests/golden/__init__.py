"""One small store per released schema revision and database, as that revision wrote it."""
