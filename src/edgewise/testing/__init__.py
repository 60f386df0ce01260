"""For tests of your own filters and policies: fakes and a virtual clock, no socket needed."""
