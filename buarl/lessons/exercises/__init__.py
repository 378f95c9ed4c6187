"""The judges of the lessons' exercises, one file a lesson; `buarl.lessons.check` finds them."""
