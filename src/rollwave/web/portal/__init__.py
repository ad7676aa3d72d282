"""The portal: the pages that people watch, decide and look back on. Views translate, they never decide."""
