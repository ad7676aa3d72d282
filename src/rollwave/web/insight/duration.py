"""Time spans as people read them."""

from __future__ import annotations

from django.utils.translation import gettext as _


def duration(seconds: float) -> str:
    """Return a time span as people read it: ``8 s``, ``3 m 12 s``, ``10 m``, ``2 h 5 m``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours and minutes:
        return _("%(hours)s h %(minutes)s m") % {"hours": hours, "minutes": minutes}
    if hours:
        return _("%(hours)s h") % {"hours": hours}
    if minutes and rest:
        return _("%(minutes)s m %(seconds)s s") % {"minutes": minutes, "seconds": rest}
    if minutes:
        return _("%(minutes)s m") % {"minutes": minutes}
    return _("%(seconds)s s") % {"seconds": rest}
