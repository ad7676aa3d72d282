"""Rollwave beside what people use today: the same release, to the same servers, by each of them."""
