"""The people who use Rollwave: their accounts, how they sign in, and the pages about them."""
