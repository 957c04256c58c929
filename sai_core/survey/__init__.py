"""A whole set at a glance: what each recording adds up to, searched, sorted, filtered, counted."""
