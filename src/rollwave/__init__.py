"""Rollwave: releases to a fleet, batch by batch, without users noticing."""
