"""What answers the frame player's scripts (``pages/components/web``), in the app and in a notebook.

The scripts draw, play and step in the browser and ask for what they miss
(:class:`~sai_core.player.request.Request`); :func:`~sai_core.player.answers.answer` gives it as bytes, with the
background work (:class:`~sai_core.player.work.Work`) that stands behind it. Who carries the messages is not known here:
Streamlit's element in the app (``pages/components/viewer.py``), a widget's model in a notebook.
"""
