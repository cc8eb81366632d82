SELECT id, text FROM reviews WHERE day = '{{ dag_run.conf['day'] }}' ORDER BY id
