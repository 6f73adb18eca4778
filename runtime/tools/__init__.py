"""What reads rows and models beside a run: previews, counts, exports. No run imports these."""
