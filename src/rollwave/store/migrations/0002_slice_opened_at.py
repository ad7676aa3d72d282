from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", "0001_initial")]

    operations = [
        migrations.AddField(model_name="slice", name="opened_at", field=models.DateTimeField(null=True)),
    ]
