"""`gense serve`: a small HTTP server that takes audio and gives it back enhanced."""
